package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Namespaces is the resource for which ListNames lists the cluster's namespaces.
const Namespaces = "namespaces"

// Nodes is the resource for which ListNames lists the cluster's nodes.
const Nodes = "nodes"

// NamedObject holds an object's name and labels.
type NamedObject struct {
	Name   string
	Labels map[string]string
	// Deleting says that it is being deleted.
	Deleting bool
}

// maxNames limits how many objects ListNames asks for, and maxNameBytes how much of the answer
// it reads: an object's metadata has one to a few kilobytes, mostly of managedFields.
const (
	maxNames     = 1000
	maxNameBytes = 16 << 20
)

// ListNames lists the first objects of a resource, which is Namespaces or one that ParseResource
// returns. The server sends only their metadata.
func (c *Cluster) ListNames(ctx context.Context, resource string) ([]NamedObject, error) {
	doing := "list " + resource
	r, err := c.findResource(resource)
	if err != nil {
		return nil, &Error{Doing: doing, Err: err}
	}

	// See "Receiving resources as Tables" in
	// kubernetes.io/docs/reference/using-api/api-concepts. A server that does not know the
	// type sends whole objects, whose metadata is the same.
	answer, err := r.addressRequest(r.client.Get()).
		VersionedParams(&metav1.ListOptions{Limit: maxNames}, r.codec).
		SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json").
		Stream(ctx)
	if err != nil {
		right := accessRight{verb: "list", group: r.client.APIVersion().Group, resource: resource, namespace: r.namespace}
		return nil, c.explainError(ctx, doing, right, err)
	}
	defer answer.Close() //nolint:errcheck // it was read to its end, or is not wanted

	names, err := decodeNames(io.LimitReader(answer, maxNameBytes))
	if err != nil {
		return nil, &Error{Doing: doing, Err: err}
	}

	return names, nil
}

// decodeNames reads the metadata of the items of a list, which may be of any type.
func decodeNames(r io.Reader) ([]NamedObject, error) {
	var list struct {
		Items []struct {
			Metadata struct {
				Name              string            `json:"name"`
				Labels            map[string]string `json:"labels"`
				DeletionTimestamp string            `json:"deletionTimestamp"`
			} `json:"metadata"`
		} `json:"items"`
	}

	if err := json.NewDecoder(r).Decode(&list); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}

	var names []NamedObject
	for _, item := range list.Items {
		m := item.Metadata
		if m.Name != "" && len(names) < maxNames {
			names = append(names, NamedObject{m.Name, m.Labels, m.DeletionTimestamp != ""})
		}
	}

	return names, nil
}

// findResource returns a resource by its name, in the cluster's namespace.
func (c *Cluster) findResource(name string) (resource, error) {
	switch name {
	case Namespaces, Nodes:
		return resource{c.core, c.codec, name, ""}, nil
	case "pods", "services":
		return resource{c.core, c.codec, name, c.Namespace}, nil
	case "jobs", "cronjobs":
		return resource{c.batch, c.codec, name, c.Namespace}, nil
	case "deployments", "statefulsets", "daemonsets", "replicasets":
		return resource{c.apps, c.codec, name, c.Namespace}, nil
	}

	return resource{}, fmt.Errorf("unknown resource %q", name)
}
