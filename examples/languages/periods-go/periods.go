// Package periods works with spans of days.
package periods

import "sort"

// Period is a span of days, both ends included.
type Period struct {
	First, Last int
}

// Days tells how many days a period has.
func (p Period) Days() int {
	return p.Last - p.First + 1
}

// Merge joins periods that overlap or touch, in order.
func Merge(periods []Period) []Period {
	sorted := append([]Period(nil), periods...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].First < sorted[j].First })
	merged := []Period{}
	for _, p := range sorted {
		if n := len(merged); n > 0 && p.First <= merged[n-1].Last+1 {
			merged[n-1].Last = p.Last
		} else {
			merged = append(merged, p)
		}
	}
	return merged
}

// Total counts the days in any of the periods.
func Total(periods []Period) int {
	total := 0
	for _, p := range Merge(periods) {
		total += p.Days()
	}
	return total
}
