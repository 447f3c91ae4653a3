package result

// Search is what --find-max has found.
type Search struct {
	Limits []string `json:"limits"` // what was to hold, in the user's words
	// Rate is the highest rate, in messages a second, at which all of it held, again and again;
	// nil if there is none.
	Rate *float64 `json:"rate"`
	// Confirmations is how many runs at that rate have confirmed the one that found it.
	Confirmations int `json:"confirmations"`
	// NextRate is the lowest rate at which something did not hold, and Why what; nil and "" if
	// there was none.
	NextRate *float64 `json:"next_rate"`
	Why      string   `json:"why"`
	// FullRate is what came through without a rate.
	FullRate *float64 `json:"full_rate"`
}
