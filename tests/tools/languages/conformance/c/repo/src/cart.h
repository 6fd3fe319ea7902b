struct cart {
    int count;
    int prices[8];
};
int total(const struct cart *cart, int by);
int empty(const struct cart *cart);
