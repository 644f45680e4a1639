package deploy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// checkVolumes wants every mount to name a volume or a claim, every volume and
// claim to be mounted, and the server's file to be where --config says.
func checkVolumes(m *manifests) error {
	for _, w := range m.workloads() {
		unused := map[string]bool{}
		for _, v := range w.pod().Volumes {
			unused[v.Name] = true
			if v.ConfigMap != nil && v.ConfigMap.Name != m.config.Name {
				return fmt.Errorf("%s: volume %q is of ConfigMap %q, there is %q", w, v.Name, v.ConfigMap.Name, m.config.Name)
			}
		}
		for _, c := range w.claims {
			if unused[c.Name] {
				return fmt.Errorf("%s: %q is a volume and a claim", w, c.Name)
			}
			unused[c.Name] = true
		}
		for _, mount := range w.container().VolumeMounts {
			if !unused[mount.Name] {
				return fmt.Errorf("%s: mount %s names %q, which is no volume, or one mounted already", w, mount.MountPath, mount.Name)
			}
			delete(unused, mount.Name)
		}
		for name := range unused {
			return fmt.Errorf("%s: volume %q is not mounted", w, name)
		}
	}
	server := m.workloads()[0]
	config, err := server.need("config")
	if err != nil {
		return err
	}
	mount, ok := server.mounted(config)
	if !ok || server.volume(mount.Name) == nil || server.volume(mount.Name).ConfigMap == nil || path.Dir(config) != mount.MountPath {
		return fmt.Errorf("%s: --config=%s does not lie in a volume of a ConfigMap", server, config)
	}
	if _, ok := m.config.Data[path.Base(config)]; !ok {
		return fmt.Errorf("%s: ConfigMap %s has no %s", server, m.config.Name, path.Base(config))
	}
	return nil
}

// mounted is the mount that a path lies on.
func (w workload) mounted(name string) (corev1.VolumeMount, bool) {
	for _, mount := range w.container().VolumeMounts {
		if name == mount.MountPath || strings.HasPrefix(name, mount.MountPath+"/") {
			return mount, true
		}
	}
	return corev1.VolumeMount{}, false
}

// volume is the pod's volume of a name, nil where that is a claim's.
func (w workload) volume(name string) *corev1.Volume {
	i := slices.IndexFunc(w.pod().Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 {
		return nil
	}
	return &w.pod().Volumes[i]
}

// checkWrites wants the root to be read-only and each directory that a program
// writes to to lie on a volume that takes it: the checkpoints on one that outlives
// the pod, downloads on one that is the pod's own.
func checkWrites(m *manifests) error {
	for _, w := range m.workloads() {
		if s := w.container().SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			return fmt.Errorf("%s: the root file system is writable", w)
		}
	}
	server, workers := m.workloads()[0], m.workloads()[1]
	for _, tc := range []struct {
		w    workload
		flag string
		kept bool
	}{{server, "checkpoint-dir", true}, {workers, "data-cache", false}} {
		dir, err := tc.w.need(tc.flag)
		if err != nil {
			return err
		}
		mount, ok := tc.w.mounted(dir)
		if !ok || mount.ReadOnly {
			return fmt.Errorf("%s: --%s=%s does not lie on a volume that can be written to", tc.w, tc.flag, dir)
		}
		claimed := slices.ContainsFunc(tc.w.claims, func(c corev1.PersistentVolumeClaim) bool { return c.Name == mount.Name })
		if claimed != tc.kept {
			return fmt.Errorf("%s: --%s=%s lies on volume %q; one that outlives the pod: %v, want %v", tc.w, tc.flag, dir, mount.Name, claimed, tc.kept)
		}
		if v := tc.w.volume(mount.Name); !tc.kept && (v == nil || v.EmptyDir == nil || v.EmptyDir.SizeLimit == nil) {
			return fmt.Errorf("%s: volume %q has no limit of size: what fills it fills the node", tc.w, mount.Name)
		}
		if tc.kept && dir == mount.MountPath {
			return fmt.Errorf("%s: --%s=%s is the volume's root, which may hold a lost+found", tc.w, tc.flag, dir)
		}
	}
	return nil
}

// written are the names of the volumes and claims that the container may write to.
func (w workload) written() []string {
	var names []string
	for _, mount := range w.container().VolumeMounts {
		v := w.volume(mount.Name)
		if !mount.ReadOnly && (v == nil || v.EmptyDir != nil || v.Ephemeral != nil || v.PersistentVolumeClaim != nil) {
			names = append(names, mount.Name)
		}
	}
	return names
}

// checkGroups wants volumes that are written to to belong to the group of those who
// write: a new volume is root's, and nobody here is.
func checkGroups(m *manifests) error {
	for _, w := range m.workloads() {
		written := w.written()
		if len(written) == 0 {
			continue
		}
		s := w.pod().SecurityContext
		if s == nil || s.FSGroup == nil {
			return fmt.Errorf("%s: no fsGroup: volumes %q can't be written to", w, written)
		}
		if s.RunAsGroup == nil || *s.FSGroup != *s.RunAsGroup {
			return fmt.Errorf("%s: volumes %q are of group %d, which is not that of its processes", w, written, *s.FSGroup)
		}
	}
	return nil
}

// Least sizes of what is written to.
var (
	leastClaim = resource.MustParse("1Gi")   // alexnet's five checkpoints, 173 MB each
	leastEmpty = resource.MustParse("512Mi") // CIFAR-10 packed and unpacked, 354 MB
)

// checkStorage wants claims that one node mounts as a file system, and empty
// volumes on disk, because memory would count as the container's; both with room.
func checkStorage(m *manifests) error {
	for _, w := range m.workloads() {
		for _, c := range w.claims {
			// ReadWriteOncePod would keep the pod out that checkpoints are copied through;
			// few storage classes have any of the others.
			if modes := c.Spec.AccessModes; !slices.Equal(modes, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}) {
				return fmt.Errorf("%s: claim %q has access modes %v, want ReadWriteOnce", w, c.Name, modes)
			}
			if mode := c.Spec.VolumeMode; mode != nil && *mode != corev1.PersistentVolumeFilesystem {
				return fmt.Errorf("%s: claim %q is of mode %s, which can't be mounted", w, c.Name, *mode)
			}
			if size := c.Spec.Resources.Requests.Storage(); size.Cmp(leastClaim) < 0 {
				return fmt.Errorf("%s: claim %q asks for %s, want at least %s", w, c.Name, size, &leastClaim)
			}
		}
		for _, v := range w.pod().Volumes {
			if v.EmptyDir == nil {
				continue
			}
			if v.EmptyDir.Medium != corev1.StorageMediumDefault {
				return fmt.Errorf("%s: volume %q is of medium %s, and would fill the container's memory", w, v.Name, v.EmptyDir.Medium)
			}
			if size := v.EmptyDir.SizeLimit; size != nil && size.Cmp(leastEmpty) < 0 {
				return fmt.Errorf("%s: volume %q is limited to %s, want at least %s", w, v.Name, size, &leastEmpty)
			}
		}
	}
	return nil
}

// checkSource wants the workers to be told where their images come from. Left to
// themselves those that reach the download would take other images than those
// that don't, and be refused.
func checkSource(m *manifests) error {
	workers := m.workloads()[1]
	source, err := workers.need("data")
	if err != nil {
		return err
	}
	if source == "auto" {
		return fmt.Errorf("%s: --data=auto may come to different images in different pods", workers)
	}
	return nil
}
