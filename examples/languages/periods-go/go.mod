module example.com/periods

go 1.19
