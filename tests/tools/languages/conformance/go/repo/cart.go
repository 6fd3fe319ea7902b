package shop

const Rate = 2

// Cart holds items with their prices.
type Cart struct {
	prices []int
}

// Total is the sum of the prices.
func (c *Cart) Total(by int) int {
	sum := 0
	for _, price := range c.prices {
		sum += price * by
	}
	return rounded(sum)
}

func Empty(cart Cart) bool {
	return len(cart.prices) == 0
}
