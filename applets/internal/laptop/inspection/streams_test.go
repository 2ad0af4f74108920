package inspection

import (
	"errors"
	"slices"
	"testing"
)

func TestLines(t *testing.T) {
	for _, c := range []struct {
		writes []string
		want   []string
		fails  bool
	}{
		{[]string{"a\nbc\n"}, []string{"a", "bc"}, false},
		{[]string{"a", "b", "\nc", "\n\n"}, []string{"ab", "c", ""}, false},
		{[]string{"no end"}, nil, false},
		{[]string{"12345678\n", "12345678", "9\n"}, []string{"12345678"}, true},
		{[]string{"a\nbad\nc\n"}, []string{"a"}, true},
	} {
		var got []string
		stopped := error(nil)
		l := &lineSplitter{most: 8, stop: func(err error) { stopped = err }, each: func(line []byte) error {
			if string(line) == "bad" {
				return errors.New("bad")
			}
			got = append(got, string(line))
			return nil
		}}

		var err error
		for _, text := range c.writes {
			if _, err = l.Write([]byte(text)); err != nil {
				break
			}
		}

		if !slices.Equal(got, c.want) || (err != nil) != c.fails || !errors.Is(stopped, err) || !errors.Is(l.err, err) {
			t.Errorf("lines of %q = %q, %v, stopped by %v, want %q and a failure: %v", c.writes, got, err, stopped, c.want, c.fails)
		}
	}
}
