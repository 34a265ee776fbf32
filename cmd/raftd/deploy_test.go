package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v2"
)

const deploy = "../../docs/deploy"

func deployed(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	variableName = regexp.MustCompile(`\bRAFTD_[A-Z_]+`)
	raftdFlag    = regexp.MustCompile(`(?:^|[ "])--([a-z][a-z-]+)`)
)

// TestDeployFilesNameWhatThereIs: each variable that a file names is a setting, and each flag
// behind raftd is one of some verb.
func TestDeployFilesNameWhatThereIs(t *testing.T) {
	flags, variables := map[string]bool{"help": true}, map[string]bool{}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, f := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
			f.VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(newCommand())
	o := defaults()
	o.bindAll(&cobra.Command{})
	for _, s := range o.settings.All() {
		variables[s.Environment] = true
	}
	files, err := os.ReadDir(deploy)
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	named := 0
	for _, f := range files {
		text := deployed(t, f.Name())
		for _, name := range variableName.FindAllString(text, -1) {
			named++
			if !variables[name] && name != "RAFTD_PORT" { // Kubernetes's own
				t.Errorf("%s: %s is no setting", f.Name(), name)
			}
		}
		for line := range strings.Lines(text) {
			_, args, of := strings.Cut(line, "raftd")
			if !of || strings.Contains(line, "useradd") || strings.Contains(line, "docker ") ||
				strings.Contains(line, "systemctl") || strings.Contains(line, "systemd-analyze") ||
				strings.Contains(line, "kubectl create") {
				continue
			}
			for _, m := range raftdFlag.FindAllStringSubmatch(args, -1) {
				named++
				if !flags[m[1]] && m[1] != "health-cmd" {
					t.Errorf("%s: --%s is no flag: %s", f.Name(), m[1], line)
				}
			}
		}
	}
	if named < 20 {
		t.Errorf("found %d names only", named)
	}
}

// checkEnvironment has raftd config check look at variables.
func checkEnvironment(t *testing.T, lines map[string]string) {
	t.Helper()
	if err := environmentErr(t, lines); err != nil {
		t.Error(err)
	}
}

// refusedEnvironment does, and it must find a mistake.
func refusedEnvironment(t *testing.T, lines map[string]string) {
	t.Helper()
	if err := environmentErr(t, lines); err == nil {
		t.Errorf("no mistake is found in %v", lines)
	}
}

func environmentErr(t *testing.T, lines map[string]string) error {
	t.Helper()
	for name, value := range lines {
		t.Setenv(name, value)
	}
	_, err := tried(t, "config", "check")
	return err
}

// secretsOf are the settings that name files with secrets, and what the files are called.
var secretsOf = map[string]string{"RAFTD_SECRET_FILE": "cluster.secret",
	"RAFTD_REQUIREPASS_FILE": "password"}

// withSecrets puts files that there are in the place of those.
func withSecrets(t *testing.T, env map[string]string) map[string]string {
	t.Helper()
	env = maps.Clone(env)
	env["RAFTD_SECRET_FILE"] = secret(t)
	env["RAFTD_REQUIREPASS_FILE"] = secretFile(t, "a-password")
	return env
}

// TestDeployFilesAreSafe: none of them opens a port without a secret or a password.
func TestDeployFilesAreSafe(t *testing.T) {
	files, err := os.ReadDir(deploy)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.Contains(strings.ToLower(deployed(t, f.Name())), "insecure") {
			t.Errorf("%s says insecure", f.Name())
		}
	}
}

// TestDeployUnitHasGoodSettings takes what the unit gives a member of its environment, its file
// and its own variables.
func TestDeployUnitHasGoodSettings(t *testing.T) {
	env := map[string]string{}
	for line := range strings.Lines(deployed(t, "raftd.env")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && line[0] != '#' {
			env[name] = value
		}
	}
	unit := deployed(t, "raftd.service")
	for _, m := range regexp.MustCompile(`(?m)^Environment=(\w+)=(.*)$`).FindAllStringSubmatch(unit,
		-1) {
		env[m[1]] = m[2]
	}
	if env["RAFTD_ID"] == "" || env["RAFTD_CONFIG"] != "/etc/raftd/raftd.toml" {
		t.Fatalf("%v", env)
	}
	env["RAFTD_CONFIG"] = filepath.Join(deploy, "raftd.toml")
	for setting, name := range secretsOf {
		if env[setting] != "%d/"+name ||
			!strings.Contains(unit, "\nLoadCredential="+name+":/etc/raftd/"+name+"\n") {
			t.Errorf("%s is %s, which is no credential", setting, env[setting])
		}
	}
	checkEnvironment(t, withSecrets(t, env))
	for setting := range secretsOf { // no address is open to others without
		less := withSecrets(t, env)
		less[setting] = ""
		refusedEnvironment(t, less)
	}
	for _, line := range []string{"Type=notify", "ExecStart=/usr/local/bin/raftd",
		"RestartPreventExitStatus=2", "Environment=GOTRACEBACK=crash",
		"User=raftd", "KillSignal=SIGTERM"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit has no line %s", line)
		}
	}
}

// TestDeployDockerfile: the image's health check is a command that there is.
func TestDeployDockerfile(t *testing.T) {
	text := deployed(t, "Dockerfile")
	m := regexp.MustCompile(`CMD \["/raftd", (.*)\]`).FindStringSubmatch(text)
	if m == nil {
		t.Fatal("no health check")
	}
	args := strings.Split(strings.ReplaceAll(m[1], `"`, ""), ", ")
	cmd, rest, err := newCommand().Find(args)
	if err != nil || cmd.Name() != "probe" || cmd.ParseFlags(rest) != nil {
		t.Errorf("%v is %v %v, %v", args, cmd.CommandPath(), rest, err)
	}
	for _, address := range []string{defaults().client, defaults().peer, defaults().http} {
		if !regexp.MustCompile(`(?m)^EXPOSE .*\b` + port(address) + `\b`).MatchString(text) {
			t.Errorf("%s is not exposed", address)
		}
	}
}

// manifest is what the tests look at of one document.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		ServiceName         string `yaml:"serviceName"`
		Replicas            int
		Ordinals            struct{ Start int }
		PodManagementPolicy string `yaml:"podManagementPolicy"`
		Ports               []struct{ Port int }
		Template            struct {
			Spec struct {
				Grace      int `yaml:"terminationGracePeriodSeconds"`
				Containers []container
				Volumes    []struct {
					Name   string
					Secret struct {
						SecretName  string `yaml:"secretName"`
						DefaultMode int    `yaml:"defaultMode"`
					}
				}
			}
		}
	}
}

type container struct {
	Env            []struct{ Name, Value string }
	Ports          []containerPort
	ReadinessProbe probe `yaml:"readinessProbe"`
	LivenessProbe  probe `yaml:"livenessProbe"`
	StartupProbe   probe `yaml:"startupProbe"`
	Lifecycle      struct {
		PreStop struct {
			Exec struct{ Command []string }
		} `yaml:"preStop"`
	}
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type containerPort struct {
	Name string
	Port int `yaml:"containerPort"`
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// TestDeployKubernetes reads the documents, and has each pod's settings checked.
func TestDeployKubernetes(t *testing.T) {
	kinds := map[string]*manifest{}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(deployed(t, "kubernetes.yaml"))))
	for {
		m := &manifest{}
		err := decoder.Decode(m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if kinds[m.Kind] == nil { // the first of two services is the headless one
			kinds[m.Kind] = m
		}
	}
	set, service := kinds["StatefulSet"], kinds["Service"]
	if set == nil || service == nil || kinds["PodDisruptionBudget"] == nil ||
		kinds["NetworkPolicy"] == nil || len(set.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("%v", kinds)
	}
	if set.Spec.PodManagementPolicy != "Parallel" || set.Spec.Ordinals.Start != 1 ||
		set.Spec.ServiceName != service.Metadata.Name {
		t.Errorf("%+v", set.Spec)
	}
	if longest := int((transferLimit + drainLimit).Seconds()) * 2; set.Spec.Template.Spec.Grace <
		longest {
		t.Errorf("%d s for a stop that takes %d", set.Spec.Template.Spec.Grace, longest)
	}
	c := &set.Spec.Template.Spec.Containers[0]
	if c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.LivenessProbe.HTTPGet.Path != "/healthz" ||
		c.StartupProbe.HTTPGet.Path != "/healthz" {
		t.Errorf("%+v", c)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	checkSecretVolume(t, set, env)
	checkPreStop(t, c)
	for setting, name := range map[string]string{"RAFTD_CLIENT": "clients", "RAFTD_PEER": "members",
		"RAFTD_HTTP": "http"} {
		number, err := strconv.Atoi(port(env[setting]))
		if err != nil || !slices.Contains(c.Ports, containerPort{name, number}) {
			t.Errorf("%s is %s, and the ports are %+v", setting, env[setting], c.Ports)
		}
	}
	for i := range set.Spec.Replicas {
		id := strconv.Itoa(i + set.Spec.Ordinals.Start)
		pod := map[string]string{}
		for name, value := range env {
			pod[name] = strings.ReplaceAll(value, "$(POD_NAME)", set.Metadata.Name+"-"+id)
		}
		pod["RAFTD_ID"] = id // the label pod-index
		// Names of pods are resolved where there are pods; --peer is what listens.
		checkEnvironment(t, withSecrets(t, pod))
		for setting := range secretsOf {
			less := withSecrets(t, pod)
			less[setting] = ""
			refusedEnvironment(t, less)
		}
	}
}

// checkSecretVolume: the files with secrets are in the volume of the Secret, which nobody but the
// container's user can read.
func checkSecretVolume(t *testing.T, set *manifest, env map[string]string) {
	t.Helper()
	mounts := map[string]string{}
	for _, m := range set.Spec.Template.Spec.Containers[0].VolumeMounts {
		mounts[m.Name] = m.MountPath
	}
	for _, v := range set.Spec.Template.Spec.Volumes {
		if v.Secret.SecretName == "" {
			continue
		}
		if v.Secret.DefaultMode != 0o440 || v.Secret.SecretName != set.Metadata.Name {
			t.Errorf("%+v", v)
		}
		for setting, name := range secretsOf {
			if env[setting] != mounts[v.Name]+"/"+name {
				t.Errorf("%s is %s, and the Secret is at %s", setting, env[setting],
					mounts[v.Name])
			}
		}
		return
	}
	t.Error("there is no volume with a Secret")
}

// checkPreStop: it is a command that there is, and takes less than a stop may.
func checkPreStop(t *testing.T, c *container) {
	t.Helper()
	words := c.Lifecycle.PreStop.Exec.Command
	if len(words) < 2 || words[0] != "/raftd" {
		t.Fatalf("preStop: %q", words)
	}
	cmd, rest, err := newCommand().Find(words[1:])
	if err != nil || cmd.Name() != "transfer" || cmd.ParseFlags(rest) != nil ||
		!cmd.Flags().Changed("if-leader") || !cmd.Flags().Changed("pass-file") {
		t.Errorf("%q is %v %v, %v", words, cmd.CommandPath(), rest, err)
	}
}
