// Package chart draws numbers as pictures, in one style: bars beside each
// other, lines over epochs, lines and their bounds over doublings, and matrices
// of counts. A picture is PNG or SVG, by the extension of its file.
//
// Invariants:
//  1. A file is whole or not there.
//  2. The same numbers give the same bytes.
//  3. Colours differ in lightness too, so that a picture can be read in grey and
//     by those who don't tell all colours apart.
//  4. A number that is not finite is left out of a picture and never spoils it.
//
// The package starts no goroutine.
package chart
