use shop::cart::{empty, Cart};

#[test]
fn total_sums() {
    let cart = Cart { prices: vec![1, 2] };
    assert_eq!(cart.total(2), 6);
}

#[test]
fn is_empty() {
    assert!(empty(&Cart { prices: vec![] }));
}
