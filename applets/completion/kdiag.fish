# Completion of kdiag for fish: kdiag completion fish | source

function __kdiag_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    set -l lines ($program __complete $words "$current" 2>/dev/null </dev/null)
    or return
    set -l directive (string replace ':' '' -- $lines[-1])
    set -e lines[-1]
    if test (count $lines) -eq 0
        if not string match -q -r '^[4567]$' -- $directive
            __fish_complete_path "$current"
        end
        return
    end
    # fish completes whole words; the candidates are for what follows the flag.
    set -l flag (string match -r -- '^-[^=]*=' "$current")
    for line in $lines
        printf '%s%s\n' "$flag" $line
    end
end

for program in kdiag kubectl-kdiag
    complete -c $program -e
    complete -c $program -f -k -a '(__kdiag_complete)'
end
