// Holder is an application that is hurt easily: "holder MIB [PORT...]" holds memory, and listens at
// ports without ever accepting, so that its callers cost it nothing.
package main

import (
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: holder MIB [PORT...]")
	}

	size, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	held, err := syscall.Mmap(-1, 0, size<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		log.Fatal(err)
	}
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1
	}

	for _, port := range os.Args[2:] {
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			log.Fatal(err)
		}
		defer listener.Close()
	}

	log.Printf("holding %d MiB", size)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}
