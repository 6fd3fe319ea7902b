package shop

import "testing"

func TestTotal(t *testing.T) {
	cart := Cart{prices: []int{1, 2}}
	if cart.Total(2) != 6 {
		t.Error("no")
	}
}

func TestEmpty(t *testing.T) {
	if !Empty(Cart{}) {
		t.Error("no")
	}
}
