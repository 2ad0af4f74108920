package applets

import "github.com/xrash/smetrics"

// NearestWord is the word of a list that a mistyped one was meant to be, or empty
// where none is alike.
func NearestWord(given string, words []string) string {
	// Jaro-Winkler, as package cli has it for flags: 1 for the same word. Below
	// this it would suggest anything.
	const alike, boost, prefix = 0.85, 0.7, 4
	best, found := alike, ""
	for _, word := range words {
		if likeness := smetrics.JaroWinkler(word, given, boost, prefix); likeness >= best {
			best, found = likeness, word
		}
	}
	return found
}

// DidYouMean adds the nearest of some words to an error, if there is one.
func DidYouMean(err error, given string, words []string) error {
	if near := NearestWord(given, words); near != "" {
		return WithHint(err, "did you mean %s?", near)
	}
	return err
}

// VisibleNames are the names of applets that a user may be told of.
func VisibleNames(list []Applet) []string {
	var names []string
	for _, a := range list {
		if !a.Hidden {
			names = append(names, a.Name)
		}
	}
	return names
}
