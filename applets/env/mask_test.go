package env

import (
	"fmt"
	"strings"
	"testing"
)

func TestIsSecretName(t *testing.T) {
	for _, name := range strings.Fields(`DB_PASSWORD PGPASSWORD dbPassword MYSQL_ROOT_PASSWORD MYSQL_PWD DB_PASS SMTP_PASSWD SSH_PASSPHRASE
		TOKEN GITHUB_TOKEN accessToken npm_config__authToken API_KEY APIKEY apiKey AWS_SECRET_ACCESS_KEY signing-key KEYS client.secret
		GOOGLE_APPLICATION_CREDENTIALS DB_CREDS AUTH BASIC_AUTH OAUTH2_CLIENT AUTHORIZATION PRIVATE_PEM GH_PAT SESSION_COOKIE`) {
		if !isSecretName(name) {
			t.Errorf("isSecretName(%q) = false, want true", name)
		}
	}

	for _, name := range strings.Fields(`PATH HOME PWD OLDPWD GIT_AUTHOR_NAME KEYBOARD_LAYOUT DATABASE_URL LANG PASSENGER_COUNT HOST_PATH SPINE`) {
		if isSecretName(name) {
			t.Errorf("isSecretName(%q) = true, want false", name)
		}
	}
}

func TestHideSecrets(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
	for value, want := range map[string]string{
		"":            "",
		"plain value": "plain value",
		"postgres://app:s3cret@db:5432/app?sslmode=off":  "postgres://app:********@db:5432/app?sslmode=off",
		"postgres://app:p@ss@db/app":                     "postgres://app:********@db/app",
		"postgres://app:p/w?x@db/app":                    "postgres://app:********@db/app",
		"redis://:s3cret@cache:6379/0":                   "redis://:********@cache:6379/0",
		"amqp://u:one@a,amqp://u:two@b":                  "amqp://u:********@a,amqp://u:********@b",
		"https://host:8443/path":                         "https://host:8443/path",
		"https://user@host/":                             "https://user@host/",
		"https://0123456789abcdef0123456789abcdef@s.io/": "https://********@s.io/",
		"app:s3cret@tcp(db:3306)/app":                    "app:********@tcp(db:3306)/app",
		"host=db user=app password=s3cret dbname=x":      "host=db user=app password=******** dbname=x",
		"Server=db;User Id=app;Password=s3cret;X=1":      "Server=db;User Id=app;Password=********;X=1",
		"AccountName=a;AccountKey=abc/def==;Suffix=x":    "AccountName=a;AccountKey=********;Suffix=x",
		`{"user":"app","password":"s 3","n":1}`:          `{"user":"app","password":********,"n":1}`,
		"https://api/?id=1&access_token=abc&x=2":         "https://api/?id=1&access_token=********&x=2",
		"Authorization: Bearer abcdefgh12":               "Authorization: Bearer ********",
		"v1 " + jwt + " end":                             "v1 ******** end",
		"-----BEGIN RSA PRIVATE KEY-----\nMIIE":          mask,
		"x -----BEGIN OPENSSH PRIVATE KEY-----":          mask,
		"-----BEGIN CERTIFICATE-----\nMIIE":              "-----BEGIN CERTIFICATE-----\nMIIE",
		"ghp_0123456789012345678901234567890123":         mask,
		"nginx:1.25@sha256:abcd":                         "nginx:1.25@sha256:abcd",
		`{"password":"ab\"cd","n":1}`:                    `{"password":********,"n":1}`,
		`{"x":"{\"password\":\"s3cret\",\"n\":1}"}`:      `{"x":"{\"password\":********,\"n\":1}"}`,
		`{"auths":{"h":{"auth":"dTpw"}}}`:                `{"auths":********`,
		`{"h":{"auth":"dTpw"}}`:                          `{"h":{"auth":********}}`,
		`{"tokens":["one","two"]}`:                       `{"tokens":********`,
		`{token:abc,user:x}`:                             `{token:********,user:x}`,
		"Server=db;Password=my pass, word;X=1":           "Server=db;Password=********;X=1",
		`Server=db;Password="a;b";X=1`:                   "Server=db;Password=********;X=1",
		`Server=db;Password="a""b";X=1`:                  "Server=db;Password=********;X=1",
		"Password=ab'c,d}e;X=1":                          "Password=********;X=1",
		"cache:6379,password=ab,cd,ssl=True,token=x":     "cache:6379,password=********,ssl=True,token=********",
		"user: app\npassword: my pass word\nport: 1":     "user: app\npassword: ********\nport: 1",
		"smtp_pass=s3cret":                               "smtp_pass=********",
		"secret_key=s3cret secretKey=x":                  "secret_key=******** secretKey=********",
		"https://api/?key=s3cret&x=2":                    "https://api/?key=********&x=2",
		"LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUU=":   mask,
		"eyJwYXNzd29yZCI6ImEifQ":                         mask,
		"SGVsbG8sIHdvcmxkISBIZWxsbw==":                   "SGVsbG8sIHdvcmxkISBIZWxsbw==",
		`{"kty":"EC","d":"abc"}`:                         mask,
		"id AKIAIOSFODNN7EXAMPLE":                        "id ********",
		"app:s3cret@queue:5672":                          "app:********@queue:5672",
		"app/s3cret@//db:1521/x":                         "app/********@//db:1521/x",
		"jdbc:oracle:thin:app/s3cret@db:1521:x":          "jdbc:oracle:thin:app/********@db:1521:x",
		"run --db-password s3cret --port 1":              "run --db-password ******** --port 1",
		"run -token 's 3' x":                             "run -token ******** x",
		"curl -u app:s3cret https://h/":                  "curl -u app:******** https://h/",
		"run --token --port 1 --author me":               "run --token --port 1 --author me",
		"reg/nginx@sha256:1234abcd":                      "reg/nginx@sha256:1234abcd",
		"https://hooks.slack.com/services/T0/B0/x":       "https://hooks.slack.com/services/********",
		`password="" user=x`:                             `password="" user=x`,
	} {
		got, secrets := hideSecrets("VALUE", value, false)
		if got != want || (got != value) != (len(secrets) > 0) {
			t.Errorf("hideSecrets(%q) = %q, %q, want %q", value, got, secrets, want)
		}
	}
}

// TestMaskSecrets also hides a secret where another value repeats it, and those that may come from a
// Secret.
func TestMaskSecrets(t *testing.T) {
	d := document{Variables: []variable{
		{Name: "ARGS", Value: "--pw=hunter2 --db=x"},
		{Name: "DB_PASSWORD", Value: "hunter2"},
		{Name: "PIN", Value: "1234"},
		{Name: "PORT", Value: "12345"},
		{Name: "EMPTY_TOKEN", Value: ""},
		{Name: "INNOCENT", Value: "hello", From: origin{Kind: fromSecret}},
		{Name: "PERHAPS", Value: "hello2", From: origin{Kind: fromElsewhere, Candidates: []origin{{Kind: fromConfigMap}, {Kind: fromSecret}}}},
		{Name: "MAP", Value: "open", From: origin{Kind: fromConfigMap}},
		{Name: "SECRET_URL", Value: "http://u:longer-secret@h/"},
		{Name: "COPY", Value: "x longer-secret y"},
		{Name: "FILE_TOKEN", Value: "with-line-end\n"},
		{Name: "ALSO", Value: "x with-line-end y"},
		{Name: "JSON", Value: `{"password":"in quotes"}`},
		{Name: "PLAIN", Value: "x in quotes y"},
	}}
	d.maskSecrets()

	var got strings.Builder
	for _, v := range d.Variables {
		got.WriteString(v.Name + "=" + v.Value)
		if v.Masked {
			got.WriteString(" masked")
		}
		got.WriteString("\n")
	}
	want := `ARGS=--pw=******** --db=x masked
DB_PASSWORD=******** masked
PIN=******** masked
PORT=12345
EMPTY_TOKEN=
INNOCENT=******** masked
PERHAPS=******** masked
MAP=open
SECRET_URL=******** masked
COPY=x ******** y masked
FILE_TOKEN=******** masked
ALSO=x ******** y masked
JSON={"password":********} masked
PLAIN=x ******** y masked
`
	if got.String() != want {
		t.Errorf("masked:\n%s\nwant:\n%s", got.String(), want)
	}
}

// TestManySecrets masks each of the most that an environment can hold, in the time that one test has.
func TestManySecrets(t *testing.T) {
	var text strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&text, "token=%06x ", i)
	}
	d := document{Variables: []variable{{Name: "ARGS", Value: text.String()}, {Name: "COPY", Value: "00ea5f in text"}}}
	d.maskSecrets()
	if got := d.Variables; strings.Count(got[0].Value, mask) != 60_000 || got[1].Value != mask+" in text" {
		t.Errorf("%d of 60000 secrets are masked, and the copy is %q", strings.Count(got[0].Value, mask), got[1].Value)
	}
}
