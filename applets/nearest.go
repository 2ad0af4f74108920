package applets

import "github.com/xrash/smetrics"

// NearestWord returns the word that the user most likely meant by a mistyped one,
// or "" if none is similar.
func NearestWord(given string, words []string) string {
	// Jaro-Winkler similarity, which package cli uses for flags, is 1 for equal
	// words. Below 0.85 it would suggest nearly anything.
	const alike, boost, prefix = 0.85, 0.7, 4
	best, found := alike, ""
	for _, word := range words {
		if likeness := smetrics.JaroWinkler(word, given, boost, prefix); likeness >= best {
			best, found = likeness, word
		}
	}
	return found
}

// DidYouMean adds the nearest of words to err as a hint, if one is similar.
func DidYouMean(err error, given string, words []string) error {
	if near := NearestWord(given, words); near != "" {
		return WithHint(err, "did you mean %s?", near)
	}
	return err
}

// VisibleNames lists the names of the applets that are not hidden.
func VisibleNames(list []Applet) []string {
	var names []string
	for _, a := range list {
		if !a.Hidden {
			names = append(names, a.Name)
		}
	}
	return names
}
