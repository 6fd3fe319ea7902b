#include <vector>

namespace shop {

class Cart {
public:
    std::vector<int> prices;
    int total(int by) const;
};

int rounded(int price);
bool empty(const Cart &cart);

}
