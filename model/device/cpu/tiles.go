package cpu

import "github.com/muster-train/muster/internal/kernel"

// tile is up to kernel.TileRows channels of one group.
type tile struct{ first, rows, group int }

// tilesOf cuts groups of n channels each into the fewest tiles, as equal as they
// can be: a tile of few rows leaves the processor waiting for its sums.
func tilesOf(groups, n int) []tile {
	var tiles []tile
	count := (n + kernel.TileRows - 1) / kernel.TileRows
	for g := range groups {
		for i := range count {
			first, end := i*n/count, (i+1)*n/count
			tiles = append(tiles, tile{g*n + first, end - first, g})
		}
	}
	return tiles
}

// split cuts the outputs of a product into units: tiles of channels times
// items, an item being one pixel of a pair of lane blocks.
type split struct {
	tiles, items       int // in all
	perTile, perItem   int // of each unit but the last
	tileUnits, itemsIn int // units along each
}

// Most tiles and items of a unit, so that what a unit reads again and again
// stays in the second cache.
const (
	mostTiles      = 8
	mostStripTiles = 16
	mostItems      = 12
)

// newSplit cuts so that each thread gets a few units, of at most most tiles.
// whole keeps all items together.
func newSplit(tiles, most, items, threads int, whole bool) split {
	s := split{tiles: tiles, items: items, perTile: evenly(tiles, most), perItem: items}
	if !whole {
		s.perItem = evenly(items, mostItems)
	}
	for s.count(); s.units() < 4*threads; s.count() {
		switch {
		case s.perTile > 2:
			s.perTile = (s.perTile + 1) / 2
		case s.perItem > 2 && !whole:
			s.perItem = (s.perItem + 1) / 2
		default:
			s.perTile = 1
			s.count()
			return s
		}
	}
	return s
}

// evenly returns the size of the fewest equal parts of at most most.
func evenly(n, most int) int {
	parts := max(1, (n+most-1)/most)
	return max(1, (n+parts-1)/parts)
}

func (s *split) count() {
	s.tileUnits = (s.tiles + s.perTile - 1) / s.perTile
	s.itemsIn = (s.items + s.perItem - 1) / s.perItem
}

func (s *split) units() int { return s.tileUnits * s.itemsIn }

// part returns the tiles [t0, t1) and items [i0, i1) of a unit.
func (s *split) part(unit int) (t0, t1, i0, i1 int) {
	t0, i0 = unit%s.tileUnits*s.perTile, unit/s.tileUnits*s.perItem
	return t0, min(t0+s.perTile, s.tiles), i0, min(i0+s.perItem, s.items)
}
