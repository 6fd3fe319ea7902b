pub fn rounded(price: i32) -> i32 {
    price
}
