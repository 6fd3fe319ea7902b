package periods

import (
	"reflect"
	"testing"
)

func TestMergeTouching(t *testing.T) {
	got := Merge([]Period{{4, 6}, {1, 3}})
	if want := []Period{{1, 6}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMergeContained(t *testing.T) {
	got := Merge([]Period{{1, 10}, {2, 3}})
	if want := []Period{{1, 10}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTotal(t *testing.T) {
	if got := Total([]Period{{1, 2}, {5, 5}}); got != 3 {
		t.Errorf("got %d, want 3", got)
	}
}
