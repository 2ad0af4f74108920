# Completion of kdiag for PowerShell:
# kdiag completion powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName 'kdiag', 'kubectl-kdiag' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # The words up to the cursor, each as it is written.
    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.StartOffset -lt $cursorPosition } |
        ForEach-Object { "$_".Trim('"', "'") })
    $program = $words[0]
    $words = @($words | Select-Object -Skip 1)
    if ("$wordToComplete" -eq '') {
        # Before 7.3, an empty argument must be quoted to arrive.
        $legacy = $PSVersionTable.PSVersion -lt [version]'7.3.0' -or "$PSNativeCommandArgumentPassing" -eq 'Legacy'
        $words += $(if ($legacy) { '""' } else { '' })
    }

    $lines = @(& $program __complete @words 2>$null)
    if ($lines.Count -eq 0) { return }
    $directive = [int]($lines[-1].TrimStart(':'))
    $prefix = ''
    if ("$wordToComplete" -match '^(-[^=]*=)') { $prefix = $Matches[1] }
    $lines | Select-Object -SkipLast 1 | ForEach-Object {
        $word, $about = $_ -split "`t", 2
        if (-not $about) { $about = $word }
        $text = "$prefix$word"
        if ($text -notmatch '^[\w./:=,@+-]+$') { $text = "'" + $text.Replace("'", "''") + "'" }
        if (-not ($directive -band 2)) { $text += ' ' }
        [System.Management.Automation.CompletionResult]::new($text, $word, 'ParameterValue', $about)
    }
    # With no candidates, PowerShell proposes files by itself; an empty text is how it is told not to.
    if ($lines.Count -eq 1 -and ($directive -band 4)) { '' }
}
