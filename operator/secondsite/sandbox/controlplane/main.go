// One binary with the parts of a Kubernetes control plane as subcommands, for the sandbox and the tests.
//
// Every part runs in a process of its own, because two Kubernetes components in one process fight over global flags
// and feature gates.
package main

import (
	"fmt"
	"os"
	_ "time/tzdata" // CEL rules and time zones must not depend on what the machine has installed

	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	watchLifeline()
	if len(os.Args) < 2 {
		os.Exit(usage())
	}
	os.Args = os.Args[1:] // each part reads its own command line from there
	name, arguments := os.Args[0], os.Args[1:]
	switch name {
	case "etcd":
		os.Exit(runEtcd(arguments))
	case "apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "controller-manager":
		os.Exit(cli.Run(controllermanager.NewControllerManagerCommand()))
	case "kubectl":
		os.Exit(runKubectl())
	default:
		os.Exit(usage())
	}
}

func usage() int {
	fmt.Fprintln(os.Stderr, "usage: controlplane etcd|apiserver|controller-manager|kubectl [flags]")
	return 2
}
