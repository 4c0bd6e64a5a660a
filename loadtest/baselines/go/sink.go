// A sink on go-smtp: it reads every message and drops it. Address: the argument.
package main

import (
	"io"
	"log"
	"os"

	"github.com/emersion/go-smtp"
)

type backend struct{}

func (backend) Login(*smtp.ConnectionState, string, string) (smtp.Session, error) {
	return nil, smtp.ErrAuthUnsupported
}

func (backend) AnonymousLogin(*smtp.ConnectionState) (smtp.Session, error) {
	return session{}, nil
}

type session struct{}

func (session) Mail(string, smtp.MailOptions) error { return nil }
func (session) Rcpt(string) error                   { return nil }
func (session) Reset()                              {}
func (session) Logout() error                       { return nil }
func (session) Data(reader io.Reader) error {
	_, err := io.Copy(io.Discard, reader)
	return err
}

func main() {
	server := smtp.NewServer(backend{})
	server.Addr = os.Args[1]
	server.Domain = "mx.test"
	server.AuthDisabled = true
	log.Fatal(server.ListenAndServe())
}
