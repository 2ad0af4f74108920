#compdef kdiag kubectl-kdiag
# Completion of kdiag for zsh: source <(kdiag completion zsh), or this as a file
# _kdiag in a directory of fpath.

_kdiag() {
    local program=${(Q)words[1]} answer line value about directive
    local -a before ends open files
    before=("${(@Q)words[2,CURRENT-1]}")
    answer=$("${program/#\~\//$HOME/}" __complete "${before[@]}" "${(Q)PREFIX}" 2>/dev/null </dev/null) || return 1
    directive=${answer##*:}
    answer=${answer%:*}

    # The candidates are for what follows the flag.
    if [[ $PREFIX == -*=* ]]; then
        IPREFIX+=${PREFIX%%=*}=
        PREFIX=${PREFIX#*=}
    fi
    for line in "${(@f)answer}"; do
        [[ -n $line ]] || continue
        value=${line%%$'\t'*}
        about=
        [[ $line == *$'\t'* ]] && about=:${line#*$'\t'}
        # What is not the end of a word gets no blank.
        if [[ $value == *[/=:] ]]; then
            open+=("${value//:/\\:}$about")
        else
            ends+=("${value//:/\\:}$about")
        fi
    done
    if (( ${#ends} + ${#open} == 0 )); then
        (( directive & 4 )) || _files
        return
    fi
    local found=1
    (( ${#ends} )) && _describe -V -t words kdiag ends && found=0
    (( ${#open} )) && _describe -V -t parts kdiag open -S '' && found=0
    return found
}

# Called as a function of fpath, it completes; sourced, it registers.
if [[ ${funcstack[1]} == _kdiag ]]; then
    _kdiag "$@"
else
    compdef _kdiag kdiag kubectl-kdiag
fi
