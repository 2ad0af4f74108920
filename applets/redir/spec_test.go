package redir

import (
	"testing"

	"kdiag/applets/internal/laptop/redirectclient"
)

func TestParseIncoming(t *testing.T) {
	for text, want := range map[string]redirectclient.Spec{
		"8080":                {Port: 8080, Local: "localhost:8080"},
		"8080:3000":           {Port: 8080, Local: "localhost:3000"},
		"8080:127.0.0.1:3000": {Port: 8080, Local: "127.0.0.1:3000"},
		"8080:[::1]:3000":     {Port: 8080, Local: "[::1]:3000"},
		"8080:Host:3000":      {Port: 8080, Local: "Host:3000"},
		"8080::3000":          {Port: 8080, Local: "localhost:3000"},
		"http":                {PortName: "http"},
		"8080-tcp":            {PortName: "8080-tcp"},
		"web:3000":            {PortName: "web", Local: "localhost:3000"},
		"web:box:3000":        {PortName: "web", Local: "box:3000"},
	} {
		if got, err := parseIncoming(text); err != nil || got != want {
			t.Errorf("parseIncoming(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}

	for _, text := range []string{"", "0", "65536", "Http", "-http", "a_b", "web:", "web:x", "80:", "80:x", "80:Host:0", "80:a:b:1", "-1", "80=90"} {
		if got, err := parseIncoming(text); err == nil {
			t.Errorf("parseIncoming(%q) = %+v, want an error", text, got)
		}
	}
}

func TestParseOutgoing(t *testing.T) {
	for text, want := range map[string]redirectclient.Spec{
		"5432":                            {Outgoing: true, Port: 5432, Local: "localhost:5432"},
		"5432:localhost:15432":            {Outgoing: true, Port: 5432, Local: "localhost:15432"},
		"5432:15432":                      {Outgoing: true, Port: 5432, Local: "localhost:15432"},
		"db.prod.svc:5432=localhost:5432": {Outgoing: true, Port: 5432, Host: "db.prod.svc", Local: "localhost:5432"},
		"db.prod.svc:5432=15432":          {Outgoing: true, Port: 5432, Host: "db.prod.svc", Local: "localhost:15432"},
		"db:5432":                         {Outgoing: true, Port: 5432, Host: "db", Local: "localhost:5432"},
		"[fd00::1]:5432=[::1]:1":          {Outgoing: true, Port: 5432, Host: "fd00::1", Local: "[::1]:1"},
	} {
		if got, err := parseOutgoing(text); err != nil || got != want {
			t.Errorf("parseOutgoing(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}

	for _, text := range []string{"", "db", "db:", "db:0", ":5432=1", "db:5432=", "db:5432=x:y", "5432=15432"} {
		if got, err := parseOutgoing(text); err == nil {
			t.Errorf("parseOutgoing(%q) = %+v, want an error", text, got)
		}
	}
}

func TestParseSpecs(t *testing.T) {
	if got, err := parseSpecs([]string{"80", "81:82"}, []string{"80", "a:80", "b:80"}); err != nil || len(got) != 5 {
		t.Errorf("parseSpecs = %v, %v, want five", got, err)
	}
	for _, twice := range [][2][]string{{{"80", "80:81"}, nil}, {nil, {"db:1", "db:1=2"}}} {
		if got, err := parseSpecs(twice[0], twice[1]); err == nil {
			t.Errorf("parseSpecs(%v) = %v, want an error", twice, got)
		}
	}
}
