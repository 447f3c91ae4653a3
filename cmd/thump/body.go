package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
)

// bodiesFlag is how large bodies are: of one size, as a bodyFlag has it, or of several.
type bodiesFlag struct{ send *load.SendConfig }

func (f bodiesFlag) Type() string { return "tutorial|SIZE|SIZES" }

func (f bodiesFlag) String() string {
	switch {
	case f.send == nil:
		return ""
	case f.send.Sizes.Shares != nil:
		return f.send.Sizes.Text
	default:
		return (*bodyFlag)(&f.send.BodyBytes).String()
	}
}

func (f bodiesFlag) Set(text string) error {
	shares, err := parseSizes(text)
	if err != nil {
		return err
	}
	if shares == nil {
		f.send.Sizes = load.Sizes{}
		return (*bodyFlag)(&f.send.BodyBytes).Set(text)
	}
	f.send.BodyBytes, f.send.Sizes = 0, load.Sizes{Text: text, Shares: shares}
	return nil
}

// sizesOfRange is how many sizes a range has.
const sizesOfRange = 50

// parseSizes reads sizes with their shares, like 100b:80%,10kb:20%, or a range, like 100b..10kb;
// nil for one size.
func parseSizes(text string) ([]load.Share, error) {
	if from, to, ok := strings.Cut(text, ".."); ok {
		return parseSizeRange(from, to)
	}
	if !strings.Contains(text, ":") {
		return nil, nil
	}
	sizes, weights, err := parseShares(text, load.SharesMost)
	if err != nil {
		return nil, err
	}
	var shares []load.Share
	for i, size := range sizes {
		var bytes bodyFlag
		if err := bytes.Set(size); err != nil {
			return nil, fmt.Errorf("%q: %w", size, err)
		}
		if bytes == 0 {
			return nil, fmt.Errorf("%q has no size: shares are for sizes, like 100b:80%%", size)
		}
		shares = append(shares, load.Share{Bytes: int(bytes), Weight: weights[i]})
	}
	return shares, nil
}

// parseSizeRange makes of a range that many sizes at even distances.
func parseSizeRange(from, to string) ([]load.Share, error) {
	var least, most bodyFlag
	if err := least.Set(from); err != nil {
		return nil, err
	}
	if err := most.Set(to); err != nil {
		return nil, err
	}
	if least == 0 || most <= least {
		return nil, fmt.Errorf("must go from a size to a larger one, like 100b..10kb")
	}
	var sizes []int
	for i := range sizesOfRange {
		sizes = append(sizes, int(least)+int(most-least)*i/(sizesOfRange-1))
	}
	var shares []load.Share
	for _, size := range slices.Compact(sizes) {
		shares = append(shares, load.Share{Bytes: size, Weight: 1})
	}
	return shares, nil
}
