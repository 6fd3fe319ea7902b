#include "../src/cart.h"
#include <gtest/gtest.h>

TEST(Carts, SumsPrices)
{
    shop::Cart cart{{1, 2}};
    EXPECT_EQ(cart.total(2), 6);
}

TEST(Carts, IsEmpty)
{
    EXPECT_TRUE(empty(shop::Cart{}));
}
