#include "../src/cart.h"

int main(void)
{
    struct cart two = {2, {1, 2}};
    return total(&two, 2) != 6;
}
