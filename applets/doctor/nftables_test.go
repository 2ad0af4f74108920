package doctor

import (
	"strings"
	"testing"

	"kdiag/mux/wire"
)

func TestNftablesCheck(t *testing.T) {
	for nftables, want := range map[string]struct {
		status Outcome
		detail string
	}{
		wire.NftOwner:           {OK, "with the owner flag, according to the manager in container c"},
		wire.NftPlain:           {OK, "without the owner flag, according to the manager in container c"},
		"nft: protocol missing": {Failed, "no nftables, according to the manager in container c: nft: protocol missing"},
	} {
		if got := nftablesCheck(nftables, "c"); got.Status != want.status || !strings.Contains(got.Detail, want.detail) || (got.Hint != "") != (want.status == Failed) {
			t.Errorf("nftablesCheck(%q) = %+v, want %+v", nftables, got, want)
		}
	}
}
