use crate::prices::rounded;

pub const RATE: i32 = 2;

/// Items with their prices.
pub struct Cart {
    pub prices: Vec<i32>,
}

impl Cart {
    /// The sum of the prices.
    pub fn total(&self, by: i32) -> i32 {
        let mut sum = 0;
        for price in self.prices.iter() {
            sum += price * by;
        }
        rounded(sum)
    }
}

pub fn empty(cart: &Cart) -> bool {
    cart.prices.is_empty()
}
