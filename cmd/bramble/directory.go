package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// directoryMode lets the owner write and its group look.
const directoryMode = 0o750

// directoryCommand is what an init container runs as root where the agent is not root: hostPath directories are made for
// root, and fsGroup does not apply to them.
func directoryCommand() *cobra.Command {
	var owner, group int
	cmd := &cobra.Command{
		Use:   "prepare-directory DIRECTORY",
		Short: "Make a data directory and give it to the user that Bramble runs as",
		Long: "Prepare-directory makes a directory if it is missing and sets its owner, group and mode (0750). What is in it is left as it\n" +
			"is. It is for init containers in Kubernetes, which run as root where the agent does not.",
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return prepareDirectory(cmd.OutOrStdout(), args[0], owner, group)
		},
	}
	cmd.Flags().IntVar(&owner, "owner", 65532, "numeric id of the user")
	cmd.Flags().IntVar(&group, "group", 65532, "numeric id of the group")
	return cmd
}

func prepareDirectory(w io.Writer, dir string, owner, group int) error {
	if owner < 0 || group < 0 {
		return fmt.Errorf("--owner %d, --group %d: must be ids of a user and a group, 0 or more", owner, group)
	}
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%s: give an absolute path", dir)
	}
	// Not MkdirAll: a parent that is missing is a mount that is missing.
	if err := os.Mkdir(dir, directoryMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the data directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at the data directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory: remove it or name another one", dir)
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok && int(sys.Uid) == owner && int(sys.Gid) == group && info.Mode().Perm() == directoryMode {
		_, err = fmt.Fprintf(w, "%s belongs to %d:%d already\n", dir, owner, group)
		return err
	}
	// The mode first: without CAP_FOWNER only the owner may set it.
	if err := os.Chmod(dir, directoryMode); err != nil { //nolint:gosec // A directory: the owner has to enter it.
		return fmt.Errorf("set the mode of the data directory: %w", err)
	}
	if err := os.Lchown(dir, owner, group); err != nil {
		return fmt.Errorf("give the data directory to %d:%d: %w (run this as root with the capability CHOWN)", owner, group, err)
	}
	_, err = fmt.Fprintf(w, "%s belongs to %d:%d now\n", dir, owner, group)
	return err
}
