# bash completion of weir
_weir() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=
  COMPREPLY=()
  case $prev in
    --config | --request) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --runtime) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    --explain | --model | --through | --path | --count | --concurrency | --team | --user | --models | --tag | --expires | --grace) return ;;
  esac
  if [ "$COMP_CWORD" = 1 ]; then
    words="run check test reload upgrade compare key report why version help"
  else
    case $command in
      run) words="--config --watch --loop" ;;
      check) words="--config --explain --request --system --providers" ;;
      test) words="--verbose"; compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
      reload | upgrade) words="--config --runtime" ;;
      report) words="--by --since --until --json --csv --config --state" ;;
      why) words="--config --state" ;;
      compare) words="--model --through --request --path --stream --count --concurrency --json --config" ;;
      key)
        case $COMP_CWORD-${COMP_WORDS[2]} in
          2-*) words="mint list revoke rotate help" ;;
          *-mint) words="--team --user --models --tag --expires --config" ;;
          *-rotate) words="--grace --config" ;;
          *) words="--config" ;;
        esac ;;
    esac
  fi
  local more
  mapfile -t more < <(compgen -W "$words" -- "$cur")
  COMPREPLY+=("${more[@]}")
}
complete -F _weir weir
