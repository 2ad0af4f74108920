package env

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// origin says where a variable comes from, by the pod's spec.
type origin struct {
	Kind originKind `json:"kind"`
	// Name is a ConfigMap's or a Secret's, Key the key in it. Of a field, a resource or a file, Key
	// is its path.
	Name string `json:"name,omitempty"`
	Key  string `json:"key,omitempty"`
	// Candidates lists what may have set a variable that the spec does not name: whole ConfigMaps
	// and Secrets, whose keys only those know who may read them.
	Candidates []origin `json:"candidates,omitempty"`
}

type originKind string

const (
	// fromSpec is a value in the pod's spec.
	fromSpec      originKind = "spec"
	fromConfigMap originKind = "configMap"
	fromSecret    originKind = "secret"
	fromField     originKind = "field"
	fromResource  originKind = "resource"
	fromFile      originKind = "file"
	// fromService is one of those that the kubelet sets for each service.
	fromService originKind = "service"
	// fromElsewhere is for the image, the runtime, and what the process's own wrapper did.
	fromElsewhere originKind = "other"
)

// mayBeSecret reports whether a variable comes from a Secret, as far as anybody knows.
func (o origin) mayBeSecret() bool {
	return o.Kind == fromSecret || slices.ContainsFunc(o.Candidates, origin.mayBeSecret)
}

// describe names the origin for people.
func (o origin) describe() string {
	var text string
	switch o.Kind {
	case fromSpec:
		text = "pod spec"
	case fromConfigMap, fromSecret:
		text = map[originKind]string{fromConfigMap: "ConfigMap ", fromSecret: "Secret "}[o.Kind] + o.Name
		if o.Key != "" {
			text += " (" + o.Key + ")"
		}
	case fromField, fromResource, fromFile:
		text = string(o.Kind) + " " + o.Key
	case fromService:
		text = "service"
	default:
		text = "image or process"
	}

	if len(o.Candidates) == 0 {
		return text
	}

	names := make([]string, len(o.Candidates))
	for i, c := range o.Candidates {
		names[i] = c.describe()
	}

	return "maybe " + strings.Join(names, ", ")
}

// containerSpec holds what a pod's spec says of a container's environment.
type containerSpec struct {
	env     []corev1.EnvVar
	envFrom []corev1.EnvFromSource
	// links says that the kubelet sets variables for the namespace's services.
	links bool
}

// readSpec finds a container, of whichever kind, in a pod's spec.
func readSpec(pod *corev1.Pod, name string) containerSpec {
	links := pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		if c.Name == name {
			return containerSpec{c.Env, c.EnvFrom, links}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if c := &pod.Spec.EphemeralContainers[i]; c.Name == name {
			return containerSpec{c.Env, c.EnvFrom, links}
		}
	}
	return containerSpec{}
}

// findVariable returns the entry of env that counts for a name, which is the last one, or nil.
func (s containerSpec) findVariable(name string) *corev1.EnvVar {
	for i := range slices.Backward(s.env) {
		if s.env[i].Name == name {
			return &s.env[i]
		}
	}
	return nil
}

// findOrigin finds out where a variable comes from.
func (s containerSpec) findOrigin(name, value string) origin {
	if named := s.findVariable(name); named != nil {
		return originOf(named)
	}

	isService := isOfService(name, value)
	ofServer := isService && strings.HasPrefix(name, "KUBERNETES_")
	whole := s.listWhole(name)
	switch {
	case len(whole) > 0 && !ofServer && !slices.Contains(setByRuntime, name):
		return origin{Kind: fromElsewhere, Candidates: whole}
	case ofServer, isService && s.links:
		return origin{Kind: fromService}
	}

	return origin{Kind: fromElsewhere}
}

// setByRuntime lists variables that nearly every container has, from its image or its runtime.
var setByRuntime = []string{"PATH", "HOME", "HOSTNAME", "TERM", "PWD", "SHLVL", "container"}

// listWhole lists the ConfigMaps and Secrets of envFrom that may have a variable, by their prefixes.
// A later one counts more.
func (s containerSpec) listWhole(name string) (whole []origin) {
	for _, source := range slices.Backward(s.envFrom) {
		key, ok := strings.CutPrefix(name, source.Prefix)
		if !ok || key == "" {
			continue
		}
		switch {
		case source.SecretRef != nil:
			whole = append(whole, origin{Kind: fromSecret, Name: source.SecretRef.Name, Key: key})
		case source.ConfigMapRef != nil:
			whole = append(whole, origin{Kind: fromConfigMap, Name: source.ConfigMapRef.Name, Key: key})
		}
	}
	return whole
}

// originOf returns what an entry of env names.
func originOf(v *corev1.EnvVar) origin {
	from := v.ValueFrom
	switch {
	case from == nil:
		return origin{Kind: fromSpec}
	case from.SecretKeyRef != nil:
		return origin{Kind: fromSecret, Name: from.SecretKeyRef.Name, Key: from.SecretKeyRef.Key}
	case from.ConfigMapKeyRef != nil:
		return origin{Kind: fromConfigMap, Name: from.ConfigMapKeyRef.Name, Key: from.ConfigMapKeyRef.Key}
	case from.FieldRef != nil:
		return origin{Kind: fromField, Key: from.FieldRef.FieldPath}
	case from.ResourceFieldRef != nil:
		return origin{Kind: fromResource, Key: from.ResourceFieldRef.Resource}
	case from.FileKeyRef != nil:
		return origin{Kind: fromFile, Key: fmt.Sprintf("%s in volume %s (%s)", from.FileKeyRef.Path, from.FileKeyRef.VolumeName, from.FileKeyRef.Key)}
	}
	return origin{Kind: fromElsewhere}
}

// isOptional reports whether the kubelet sets an entry of env only if there is such a key.
func isOptional(v *corev1.EnvVar) bool {
	var optional *bool
	switch from := v.ValueFrom; {
	case from == nil:
	case from.SecretKeyRef != nil:
		optional = from.SecretKeyRef.Optional
	case from.ConfigMapKeyRef != nil:
		optional = from.ConfigMapKeyRef.Optional
	case from.FileKeyRef != nil:
		optional = from.FileKeyRef.Optional
	}
	return optional != nil && *optional
}

// listNames lists the variables that the spec sets in any case, each once.
func (s containerSpec) listNames() (names []string) {
	for i := range s.env {
		if name := s.env[i].Name; !slices.Contains(names, name) && !isOptional(s.findVariable(name)) {
			names = append(names, name)
		}
	}
	return names
}

// isChanged reports whether a variable has another value than the spec's. What a value refers to is
// taken from the process, whose values are given.
func (s containerSpec) isChanged(name, value string, values map[string]string) bool {
	named := s.findVariable(name)
	if named == nil || named.ValueFrom != nil {
		return false
	}

	known := map[string]string{}
	for i := range s.env {
		v := &s.env[i]
		if v == named {
			break
		}
		if _, there := values[v.Name]; there {
			known[v.Name] = values[v.Name]
		}
	}

	// Those of envFrom and of services come before all of env.
	for other, theirs := range values {
		if s.findVariable(other) == nil {
			known[other] = theirs
		}
	}

	return value != named.Value && value != expandReferences(named.Value, known)
}

// expandReferences replaces $(NAME) by its value, as the kubelet does. $$ stands for $, and a
// reference to a variable that is not known stays.
func expandReferences(text string, values map[string]string) string {
	return reference().ReplaceAllStringFunc(text, func(match string) string {
		if match == "$$" {
			return "$"
		}
		if value, ok := values[match[2:len(match)-1]]; ok {
			return value
		}
		return match
	})
}

var reference = compileLater(`\$\$|\$\([^)]*\)`)

// ofService matches the names of the variables that the kubelet sets for a service.
var ofService = compileLater(`^[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// isOfService reports whether a variable looks like one that the kubelet sets for a service.
func isOfService(name, value string) bool {
	isAddress := strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://") || strings.HasPrefix(value, "sctp://")
	return ofService().MatchString(name) || strings.HasSuffix(name, "_PORT") && isAddress
}
