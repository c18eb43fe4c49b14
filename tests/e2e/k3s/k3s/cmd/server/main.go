// The stand-in's server: one program with many names, as k3s' is. It uses sqlite and seccomp through their Go modules.
package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	dockerd "github.com/Mirantis/cri-dockerd/cmd/version"
	router "github.com/cloudnativelabs/kube-router/v2/pkg/version"
	containerd "github.com/containerd/containerd/v2/version"
	"github.com/k3s-io/helm-controller/pkg/controllers/chart"
	"github.com/k3s-io/k3s/pkg/deploy"
	"github.com/k3s-io/k3s/pkg/static"
	k3s "github.com/k3s-io/k3s/pkg/version"
	sqlite "github.com/mattn/go-sqlite3"
	seccomp "github.com/seccomp/libseccomp-golang"
	etcd "go.etcd.io/etcd/api/v3/version"
	client "k8s.io/client-go/pkg/version"
	base "k8s.io/component-base/version"
	crictl "sigs.k8s.io/cri-tools/pkg/version"
	"sigs.k8s.io/yaml"
)

func main() {
	var err error
	switch filepath.Base(os.Args[0]) {
	case "kubectl":
		err = kubectl()
	case "crictl":
		fmt.Println("crictl version", crictl.Version)
	case "ctr", "containerd":
		fmt.Println(filepath.Base(os.Args[0]), containerd.Package, containerd.Version)
	default:
		err = server()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func kubectl() error {
	out, err := yaml.Marshal(map[string]any{"clientVersion": base.Get()})
	os.Stdout.Write(out)
	return err
}

// server says what it was built with, having used it.
func server() error {
	pages, err := datastore()
	if err != nil {
		return err
	}
	if err := filter(); err != nil {
		return err
	}
	library, _, _ := sqlite.Version()
	major, minor, micro := seccomp.GetLibraryVersion()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"version":    k3s.Version + " " + k3s.GitCommit,
		"sqlite":     library,
		"pages":      pages,
		"seccomp":    fmt.Sprintf("%d.%d.%d", major, minor, micro),
		"manifests":  deploy.Names(),
		"charts":     static.Names(),
		"helm":       chart.DefaultJobImage,
		"kubernetes": base.Get().GitVersion,
		"client":     client.Get().GitVersion,
		"router":     router.Version + " " + router.BuildDate,
		"dockerd":    dockerd.Version + " " + dockerd.GitCommit + " " + dockerd.BuildTime,
		"etcd":       etcd.GitSHA,
		"arguments":  os.Args,
		"data":       os.Getenv("K3S_DATA_DIR"),
	})
}

// datastore asks for pages of the database in the way of kine: the table dbstat is there only when it was compiled in.
func datastore() (int, error) {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE kine (name TEXT); INSERT INTO kine VALUES ('one')"); err != nil {
		return 0, err
	}
	var pages int
	return pages, db.QueryRow("SELECT COUNT(*) FROM dbstat").Scan(&pages)
}

// filter makes a filter for system calls and looks at what the library made of it.
func filter() error {
	made, err := seccomp.NewFilter(seccomp.ActAllow)
	if err != nil {
		return err
	}
	defer made.Release()
	call, err := seccomp.GetSyscallFromName("reboot")
	if err != nil {
		return err
	}
	if err := made.AddRule(call, seccomp.ActErrno.SetReturnCode(1)); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return made.ExportBPF(null)
}
