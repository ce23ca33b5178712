// One binary with the parts of a Kubernetes control plane as subcommands, for the sandbox and the tests.
//
// Every part runs in a process of its own, because two Kubernetes components in one process fight over global flags
// and feature gates.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // CEL rules and time zones must not depend on what the machine has installed

	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	watchLifeline()
	name, arguments := subcommand(os.Args)
	os.Args = append([]string{name}, arguments...)
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
		fmt.Fprintln(os.Stderr, "usage: controlplane etcd|apiserver|controller-manager|kubectl [flags]")
		os.Exit(2)
	}
}

// subcommand lets the binary be called kubectl through a link.
func subcommand(argv []string) (string, []string) {
	if name := filepath.Base(argv[0]); name == "kubectl" {
		return name, argv[1:]
	}
	if len(argv) < 2 {
		return "", nil
	}
	return argv[1], argv[2:]
}
