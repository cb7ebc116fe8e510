//! Worker threads that carry packets between TUN devices and sockets through the IPsec tables.

