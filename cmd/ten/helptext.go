package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// exitCodes are all exit codes and what they say.
var exitCodes = []struct {
	code int
	text string
}{
	{exitOK, "it worked"},
	{exitFailure, "it did not work"},
	{exitUsage, "it was asked for wrongly: a flag or a name that cannot be"},
	{exitNoDaemon, "no daemon answers"},
	{exitNotFound, "there is no such instance or service"},
	{exitNotUp, "the app did not start; its last lines are shown"},
	{exitConfig, "tenement.toml is missing, or has faults"},
}

// offline are the commands that ask no daemon.
var offline = map[string]bool{
	"ten init": true, "ten config check": true, "ten config show": true, "ten caddy": true,
	"ten completion": true, "ten man": true, "ten help": true, "ten install": true, "ten uninstall": true, "ten leave": true,
}

// exitsOf are the exit codes of a command.
func exitsOf(cmd *cobra.Command) []int {
	path := cmd.CommandPath()
	all := []int{exitOK, exitFailure, exitUsage}
	takes := func(word string) bool { return strings.Contains(cmd.Use, word) }
	switch {
	case path == "ten":
		return []int{exitOK, exitFailure, exitUsage, exitNoDaemon, exitNotFound, exitNotUp, exitConfig}
	case path == "ten serve", path == "ten keeper", path == "ten caddy", path == "ten install", strings.HasPrefix(path, "ten config "):
		return append(all, exitConfig)
	case path == "ten version":
		return []int{exitOK, exitUsage}
	case cmd.HasSubCommands() && cmd.Use == cmd.Name(): // it only prints its help
		return []int{exitOK, exitUsage}
	case offline[path]:
		return all
	}
	all = append(all, exitNoDaemon)
	if takes("INSTANCE") || takes("SERVICE") || takes("NAME") || takes("HOST") || takes("ID") || path == "ten import" {
		all = append(all, exitNotFound)
	}
	switch cmd.Name() {
	case "spawn", "wake", "restart", "deploy", "route", "keep-awake", "restore":
		all = append(all, exitNotUp)
	case "reload":
		all = append(all, exitConfig)
	}
	if strings.HasPrefix(path, "ten token") { // without a daemon they read it
		all = append(all, exitConfig)
	}
	return all
}

// exitHelp is the part of a command's help that tells of its exit codes.
func exitHelp(cmd *cobra.Command) string {
	var b strings.Builder
	b.WriteString("\nExit codes:\n")
	for _, code := range exitsOf(cmd) {
		b.WriteString("  " + string(rune('0'+code)) + "  " + exitCodes[code].text + "\n")
	}
	if strings.HasSuffix(cmd.Use, "...") || !cmd.HasParent() {
		b.WriteString("With several it is the highest of their codes.\n")
	}
	return b.String()
}
