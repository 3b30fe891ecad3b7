// A forwarder of TCP ports into a WireGuard network on the Go modules golang.zx2c4.com/wireguard and its tun/netstack, with
// nothing around it: what the well-known user-space proxies are made of. The bench of the user-space link compares with it.
//
// Standard input is a JSON object; it prints "ready" when it listens.
package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

type settings struct {
	// base64
	PrivateKey, PeerPublicKey string
	// address:port
	Endpoint, Address string
	MTU               int
	Forwards          []struct{ Listen, To string }
}

func key(text string) string {
	bytes, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		log.Fatal(err)
	}
	return hex.EncodeToString(bytes)
}

func main() {
	var s settings
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		log.Fatal(err)
	}
	tun, stack, err := netstack.CreateNetTUN([]netip.Addr{netip.MustParseAddr(s.Address)}, nil, s.MTU)
	if err != nil {
		log.Fatal(err)
	}
	dev := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, ""))
	if err := dev.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=%s\nallowed_ip=0.0.0.0/0\n",
		key(s.PrivateKey), key(s.PeerPublicKey), s.Endpoint)); err != nil {
		log.Fatal(err)
	}
	if err := dev.Up(); err != nil {
		log.Fatal(err)
	}
	for _, f := range s.Forwards {
		listener, err := net.Listen("tcp", f.Listen)
		if err != nil {
			log.Fatal(err)
		}
		go accept(listener, stack, f.To)
	}
	fmt.Println("ready")
	select {}
}

func accept(listener net.Listener, stack *netstack.Net, to string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go forward(client, stack, to)
	}
}

func forward(client net.Conn, stack *netstack.Net, to string) {
	defer client.Close()
	server, err := stack.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		io.Copy(server, client)
		if half, ok := server.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
		close(done)
	}()
	io.Copy(client, server)
	if half, ok := client.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	<-done
}
