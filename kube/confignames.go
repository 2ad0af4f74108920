package kube

import (
	"maps"
	"slices"
)

// ConfigNames lists the names in a kubeconfig, sorted.
type ConfigNames struct {
	Contexts, Clusters, Users []string
}

// ReadNames reads the names in the kubeconfig. It sends no request.
func (o ConnectOptions) ReadNames() (ConfigNames, error) {
	config, err := o.configLoader().RawConfig()
	if err != nil {
		return ConfigNames{}, configError(err)
	}

	return ConfigNames{
		Contexts: slices.Sorted(maps.Keys(config.Contexts)),
		Clusters: slices.Sorted(maps.Keys(config.Clusters)),
		Users:    slices.Sorted(maps.Keys(config.AuthInfos)),
	}, nil
}
