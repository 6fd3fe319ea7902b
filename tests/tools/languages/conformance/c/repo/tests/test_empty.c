#include "../src/cart.h"

int main(void)
{
    struct cart none = {0};
    return !empty(&none);
}
