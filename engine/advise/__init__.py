"""What to set on the VPN servers, the gateways and the clients, concluded from what the engine sees of them."""
