package image

import (
	"debug/elf"
	"runtime"
	"slices"
	"strings"

	"kdiag/applets"
)

// platform names an operating system and an architecture, as Go and images do.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// parsePlatform parses a platform such as "linux/arm64". An empty text means Linux on
// this architecture.
func parsePlatform(text string) (platform, error) {
	if text == "" {
		return platform{"linux", runtime.GOARCH}, nil
	}

	system, arch, ok := strings.Cut(strings.ToLower(text), "/")
	// The only arm64 is v8. Image tools write it or leave it out.
	if arch == "arm64/v8" {
		arch = "arm64"
	}

	if !ok || system != "linux" || arch == "" || strings.ContainsAny(arch, `/\.`) {
		return platform{}, applets.WithHint(
			applets.Usage("platform %q: must be linux/ARCH", text), "for example --platform=linux/arm64")
	}

	return platform{system, arch}, nil
}

// parsePlatforms parses comma-separated lists and drops duplicates. Without any list,
// it returns the default platform.
func parsePlatforms(lists []string) ([]platform, error) {
	list := strings.Join(lists, ",")
	var all []platform
	for _, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		if text == "" && list != "" {
			return nil, applets.Usage("platforms %q: must not contain an empty one", list)
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

// elfArch returns Go's name for the architecture in an ELF header.
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
