package main

import (
	"fmt"
	"strconv"
	"strings"
)

// parseShares reads values with their shares, like 100b:80%,10kb:20%.
func parseShares(text string, most int) (values []string, shares []float64, err error) {
	parts := strings.Split(text, ",")
	if len(parts) > most {
		return nil, nil, fmt.Errorf("%d values are more than %d", len(parts), most)
	}
	for _, part := range parts {
		at := strings.LastIndex(part, ":")
		value, share := strings.TrimSpace(part[:max(at, 0)]), part[at+1:]
		number, percent := strings.CutSuffix(share, "%")
		weight, err := strconv.ParseFloat(number, 64)
		if at < 1 || err != nil || !percent || !(weight > 0 && weight <= 100) {
			return nil, nil, fmt.Errorf("%q must be a value and its share, like VALUE:80%%", part)
		}
		values, shares = append(values, value), append(shares, weight)
	}
	return values, shares, nil
}
