package compress

import (
	"bytes"
	"testing"
)

func TestThereAndBack(t *testing.T) {
	for _, size := range []int{0, 1, 100, 5000, 70_000, 3 << 20} {
		src := make([]byte, size)
		for i := range src {
			src[i] = byte(i) * byte(i>>9)
		}
		for c := range Zstd + 1 {
			packed, err := Compress([]byte("x"), c, src)
			if err != nil {
				t.Fatal(c, err)
			}
			got, err := Decompress([]byte("y"), c, packed[1:], size)
			if err != nil || !bytes.Equal(got[1:], src) || got[0] != 'y' {
				t.Errorf("%v, %d bytes: got %d, %v", c, size, len(got), err)
			}
			t.Log(c, size, len(packed))
		}
	}
}
