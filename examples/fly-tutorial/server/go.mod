module warren.example/server

go 1.21
