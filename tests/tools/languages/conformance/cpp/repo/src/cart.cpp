#include "cart.h"

namespace shop {

/// The sum of the prices.
int Cart::total(int by) const
{
    int sum = 0;
    for (int price : prices) {
        sum += price * by;
    }
    return rounded(sum);
}

bool empty(const Cart &cart)
{
    return cart.prices.empty();
}

}
