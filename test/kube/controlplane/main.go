// Command controlplane is a Kubernetes control plane in one file: its first argument says which part of it to be.
//
//	controlplane etcd …                      etcd's own flags
//	controlplane kube-apiserver …            kube-apiserver's
//	controlplane kube-controller-manager …   kube-controller-manager's
//
// It is in a module of its own, since k8s.io/kubernetes is made to be built from its repository: the staging modules have
// to be replaced one by one by their published versions.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if len(os.Args) < 2 {
		fail("which part? etcd, kube-apiserver or kube-controller-manager")
	}
	part := os.Args[1]
	args := append([]string{part}, os.Args[2:]...)
	os.Args = args // etcd, and the versions in the flags of Kubernetes, look there

	var command *cobra.Command
	switch part {
	case "etcd":
		etcdmain.Main(args)
		return
	case "kube-apiserver":
		command = apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		command = controllers.NewControllerManagerCommand()
	default:
		fail("no part of a control plane is called " + part)
	}
	os.Exit(cli.Run(command))
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, "controlplane: "+message)
	os.Exit(2)
}
