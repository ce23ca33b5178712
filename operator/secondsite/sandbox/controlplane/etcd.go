package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

const readyWithin = 60 * time.Second

func runEtcd(arguments []string) int {
	config, err := etcdConfig(arguments)
	if err == nil {
		err = serveEtcd(config)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		return 1
	}
	return 0
}

func etcdConfig(arguments []string) (*embed.Config, error) {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	directory := flags.String("data-dir", "", "where the data lie")
	client := flags.String("listen-client-url", "", "where the API server connects")
	peer := flags.String("listen-peer-url", "", "required by etcd, used by nobody: there is one member")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	clientURL, err := url.Parse(*client)
	if err != nil {
		return nil, err
	}
	peerURL, err := url.Parse(*peer)
	if err != nil {
		return nil, err
	}
	config := embed.NewConfig()
	config.Dir = *directory
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.UnsafeNoFsync = true // a sandbox dies with its machine; the disk's fsync would be most of every write
	config.LogLevel = "error"
	return config, nil
}

func serveEtcd(config *embed.Config) error {
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-server.Server.ReadyNotify():
	case <-stop:
		return nil
	case err := <-server.Err():
		return err
	case <-time.After(readyWithin):
		return fmt.Errorf("not ready within %s", readyWithin)
	}
	select {
	case <-stop:
		return nil
	case err := <-server.Err():
		return err
	}
}
