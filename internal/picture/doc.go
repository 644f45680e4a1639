// Package picture turns picture files into square blocks of pixels: JPEG, PNG,
// GIF (its first frame) and WebP (if it is not animated), decoded by the
// standard library and golang.org/x/image, cut to their central square and
// scaled.
//
// Invariants:
//  1. A picture that has the size wanted comes through unchanged, value by value.
//  2. A file is not decoded before its header has shown that it is of bearable
//     size.
//  3. Where a picture is transparent, white shows.
//
// JPEGs are turned upright by their EXIF orientation. The package starts no
// goroutine.
package picture
