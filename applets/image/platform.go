package image

import (
	"debug/elf"
	"runtime"
	"slices"
	"strings"

	"kdiag/applets"
)

// platform is an operating system and architecture in Go's names, which are
// those of images too.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// parsePlatform reads "linux/arm64"; empty is Linux on this architecture.
func parsePlatform(text string) (platform, error) {
	if text == "" {
		return platform{"linux", runtime.GOARCH}, nil
	}

	system, arch, ok := strings.Cut(strings.ToLower(text), "/")
	// v8 is the one arm64 there is: image tools write it or leave it out.
	if arch == "arm64/v8" {
		arch = "arm64"
	}

	if !ok || system != "linux" || arch == "" || strings.ContainsAny(arch, `/\.`) {
		return platform{}, applets.WithHint(
			applets.Usage("platform %q: images are for linux/ARCH", text), "such as --platform=linux/arm64")
	}

	return platform{system, arch}, nil
}

// parsePlatforms reads lists separated by commas, without doubles; none at all
// is the default platform.
func parsePlatforms(lists []string) ([]platform, error) {
	list := strings.Join(lists, ",")
	var all []platform
	for _, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		if text == "" && list != "" {
			return nil, applets.Usage("platforms %q: one of them is empty", list)
		}

		p, err := parsePlatform(text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}

	return all, nil
}

// elfArch is Go's name for the architecture in an ELF header.
func elfArch(h elf.FileHeader) string {
	switch {
	case h.Machine == elf.EM_PPC64 && h.Data == elf.ELFDATA2LSB:
		return "ppc64le"
	case h.Machine == elf.EM_RISCV && h.Class == elf.ELFCLASS64:
		return "riscv64"
	}
	if name, ok := elfArches[h.Machine]; ok {
		return name
	}
	return h.Machine.String()
}

var elfArches = map[elf.Machine]string{
	elf.EM_X86_64:    "amd64",
	elf.EM_AARCH64:   "arm64",
	elf.EM_ARM:       "arm",
	elf.EM_386:       "386",
	elf.EM_LOONGARCH: "loong64",
	elf.EM_S390:      "s390x",
}
