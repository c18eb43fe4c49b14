module github.com/flannel-io/cni-plugin

go 1.26
