// Sample is the application that demo and tests run in pods: a small HTTP
// server that, like many, reaps no children, ships no shell and writes a line
// for each request: "app [ADDRESS [ECHO [TLS]]]". At ECHO it sends back what it
// gets, at TLS it serves the same as at ADDRESS.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	address := ":8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}

	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	addHealth()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s from %s", r.Method, r.URL.Path, r.RemoteAddr)
		host, _ := os.Hostname()
		fmt.Fprintf(w, "sample app on %s\n", host)
	})

	server := &http.Server{Addr: address, ReadHeaderTimeout: 5 * time.Second, Protocols: allProtocols()}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		_ = server.Close()
	}()

	if len(os.Args) > 2 {
		go serveEcho(os.Args[2])
	}
	if len(os.Args) > 3 {
		go serveTLS(os.Args[3])
	}

	log.Printf("listening on %s", address)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}

// serveEcho sends back what each connection sends, and ends it when its other end
// does.
func serveEcho(address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}

	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
	}
}
