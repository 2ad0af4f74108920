# Completion of kdiag for bash: source <(kdiag completion bash)

__kdiag_complete() {
    COMPREPLY=()
    # COMP_WORDS is split at characters such as = and :, too (COMP_WORDBREAKS).
    # Put the pieces that no blank parts together again, up to the cursor.
    local line=${COMP_LINE:0:COMP_POINT} words=() piece blank i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        piece=${COMP_WORDS[i]}
        blank=${line%%[![:space:]]*}
        line=${line#"$blank"}
        if ((i == COMP_CWORD)); then
            piece=$line
        fi
        line=${line#"$piece"}
        if ((i > 0)) && [[ -z $blank ]]; then
            words[${#words[@]} - 1]+=$piece
        else
            words[${#words[@]}]=$piece
        fi
    done

    # Names have no quotes in them: what is quoted is meant without.
    local word=${words[${#words[@]} - 1]} clean=() quotes="[\\\\\"']"
    for piece in "${words[@]}"; do
        clean[${#clean[@]}]=${piece//$quotes/}
    done
    local program=${clean[0]/#\~\//$HOME/}
    local answer
    answer=$("$program" __complete "${clean[@]:1}" 2>/dev/null </dev/null) || return 0
    local directive=${answer##*:}
    answer=${answer%:*}

    # Readline replaces what follows the last of these in the word.
    local breaks=${COMP_WORDBREAKS//[^=:@]/} prefix="" keep=""
    if [[ $word == -*=* ]]; then
        prefix=${word%%=*}=
    fi
    if [[ -n $breaks && $word == *[$breaks]* && $word != [\"\']* ]]; then
        keep=${word%"${word##*[$breaks]}"}
    fi

    local value about width=0 values=() abouts=()
    while IFS=$'\t' read -r value about; do
        [[ -n $value ]] || continue
        value=$prefix$value
        value=${value#"$keep"}
        values[${#values[@]}]=$value
        abouts[${#abouts[@]}]=$about
        ((${#value} > width)) && width=${#value}
    done <<<"$answer"

    local can=0
    [[ $(type -t compopt) == builtin ]] && can=1
    if ((can && (directive & 2))); then
        compopt -o nospace
    fi
    if ((${#values[@]} == 0)); then
        if ((can && !(directive & 4))); then
            compopt -o default
        fi
    elif ((${#values[@]} == 1)); then
        COMPREPLY[0]=$(printf %q "${values[0]}")
    elif [[ ${COMP_TYPE:-9} == 63 || ${COMP_TYPE:-9} == 33 || ${COMP_TYPE:-9} == 64 ]]; then
        # A list for the eye: each with what it is.
        for ((i = 0; i < ${#values[@]}; i++)); do
            if [[ -n ${abouts[i]} ]]; then
                printf -v piece '%-*s  (%s)' "$width" "${values[i]}" "${abouts[i]}"
                COMPREPLY[i]=${piece:0:${COLUMNS:-80} - 2}
            else
                COMPREPLY[i]=${values[i]}
            fi
        done
    elif [[ ${COMP_TYPE:-9} == 37 || ${COMP_TYPE:-9} == 42 ]]; then
        # menu-complete and insert-completions put them into the line as they are.
        for value in "${values[@]}"; do
            COMPREPLY[${#COMPREPLY[@]}]=$(printf %q "$value")
        done
    else
        COMPREPLY=("${values[@]}")
    fi
}

complete -F __kdiag_complete kdiag kubectl-kdiag
